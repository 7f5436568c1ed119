"""What lessons say of language models, measured on a model of the built-in stories, beside what guessing would give."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from minigpt.data import stories
from minigpt.data.stories_words import CLASSES, GIVING_VERBS, ROLE_PAIRS
from minigpt.errors import UserError
from minigpt.inspection.embeddings import Embedding
from minigpt.inspection.trace import trace
from minigpt.runs import Run

N_CASES = 1000
"""Pronouns that are asked for."""
N_TRACED = 100
"""Of these, sentences whose attention is looked at."""
N_TRACKED = 500
"""Stories in which an object is followed, at most."""


@dataclass(frozen=True)
class Claim:
    """A share of cases that came out as the claim says, and the share that guessing would give."""

    name: str
    share: float
    n_cases: int
    chance: float
    detail: str = ""


def measure(run: Run) -> list[Claim]:
    """All claims on one run; UserError where it did not learn from the built-in stories."""
    if run.config.data.source != "stories":
        raise UserError(
            f"{run.folder.path}: data.source = {run.config.data.source}: the claims are about the built-in stories; "
            "leave --claims away"
        )
    pronouns = held_out_pronouns(run)
    return [*analogies(run), pronoun_claim(run, pronouns), *tying_heads(run, pronouns[:N_TRACED]), *tracking(run)]


def analogies(run: Run) -> list[Claim]:
    """King - man + woman = queen, and so on: over all couples of role pairs, both ways round."""
    embedding = Embedding.of(run)
    found = [(embedding.find(his), embedding.find(her)) for his, her in ROLE_PAIRS]
    pairs = [(his, her) for his, her in found if his is not None and her is not None]
    if len(pairs) < 2:
        return []  # a vocabulary without these words
    questions = [
        (first[i], second[i], second[1 - i], first[1 - i])
        for first in pairs
        for second in pairs
        for i in (0, 1)
        if first != second
    ]
    claims = []
    for exclude in (True, False):
        wrong = [q for q in questions if embedding.analogy(*q[:3], n=1, exclude=exclude)[0].token != q[3]]
        words = "the question's own words excluded" if exclude else "no word excluded"
        detail = "wrong: " + ", ".join(_question(run, q) for q in wrong[:3]) if wrong else ""
        claims.append(
            Claim(
                f"analogies such as king - man + woman = queen, {words}",
                1 - len(wrong) / len(questions),
                len(questions),
                1 / (run.tokenizer.vocab_size - (3 if exclude else 0)),
                detail,
            )
        )
    return claims


def _question(run: Run, tokens: Sequence[int]) -> str:
    a, b, c, d = (run.tokenizer.decode([token]).strip() for token in tokens)
    return f"{a} - {b} + {c} = {d}"


@dataclass(frozen=True)
class Pronoun:
    """The beginning of a sentence such as 'Alice gave Bob', and whose the thing is that comes next."""

    giver: str
    verb: str
    receiver: str
    right: str
    wrong: str

    @property
    def text(self) -> str:
        """What stands before the pronoun."""
        return f"{self.giver} {self.verb} {self.receiver}"


def held_out_pronouns(run: Run) -> list[Pronoun]:
    """People of different sexes and verbs in combinations that the training text does not have."""
    names = {word.text: word.forms["his"] for word in CLASSES["name"]}
    giving = re.compile(rf"\w+ (?:{'|'.join(GIVING_VERBS)}) \w+")
    told = stories.generate(run.config.data.n_stories, run.config.data.stories_seed)
    seen = {gift for story in told for gift in giving.findall(story)}
    generator = random.Random(0)  # noqa: S311 - nothing here is secret
    cases: list[Pronoun] = []
    while len(cases) < N_CASES:
        giver, receiver = generator.sample(sorted(names), 2)
        case = Pronoun(giver, generator.choice(GIVING_VERBS), receiver, names[giver], names[receiver])
        if case.right != case.wrong and case.text not in seen:
            cases.append(case)
    return cases


def pronoun_claim(run: Run, cases: Sequence[Pronoun]) -> Claim:
    """Whether the giver's pronoun is more probable than the receiver's."""
    right = sum(_prefers(run, case.text, case.right, case.wrong) for case in cases)
    return Claim(
        "'Alice gave Bob' goes on with her, not his; combinations never seen", right / len(cases), len(cases), 0.5
    )


def tying_heads(run: Run, cases: Sequence[Pronoun], n: int = 3) -> list[Claim]:
    """The heads that look most from a pronoun to its person, the mean weight, and that on the other person."""
    tied: dict[tuple[int, int], list[tuple[float, float]]] = {}
    lengths = []
    for case in cases:
        ids = run.tokenizer.encode_prompt(f"{case.text} {case.right}", begin_document=True)
        giver = len(run.tokenizer.encode_prompt(case.giver, begin_document=True)) - 1
        receiver = len(run.tokenizer.encode_prompt(case.text, begin_document=True)) - 1
        lengths.append(len(ids))
        for i, layer in enumerate(trace(run.model, ids).layers):
            for j, weights in enumerate(layer.attention.weights[:, -1]):
                tied.setdefault((i, j), []).append((float(weights[giver]), float(weights[receiver])))
    means = {head: torch.tensor(weights).mean(0).tolist() for head, weights in tied.items()}
    best = sorted(means, key=lambda head: -means[head][0])[:n]
    return [
        Claim(
            f"layer {i + 1}, head {j + 1} looks from the pronoun to its person",
            means[i, j][0],
            len(cases),
            len(cases) / sum(lengths),
            f"{means[i, j][1]:.0%} to the other person",
        )
        for i, j in best
    ]


def tracking(run: Run) -> list[Claim]:
    """Where a thing is, and who has it, at the end of new stories in which it was moved or given away."""
    outcomes: dict[str, list[bool]] = {"container2": [], "friend": []}
    for text in stories.generate(100 * N_TRACKED, run.config.data.stories_seed + 1):
        if min(map(len, outcomes.values())) >= N_TRACKED:
            break
        found = re.search(r"So today (?:the \S+ \S+ is in)?", text)
        if found is None:
            continue
        reader = stories.Reader(text + stories.END)
        reader.tell(stories.DOCUMENT)
        right, wrong = ("container2", "container") if found[0].endswith("in") else ("friend", "hero")
        words = [reader.words[name].text for name in (right, wrong)]
        candidates = [word if word[0].isupper() else f"the {word}" for word in words]
        outcomes[right].append(_prefers(run, text[: found.end()].rstrip(), *candidates))
    names = {
        "container2": "a thing is where the story put it, not where it was before",
        "friend": "a thing belongs to whom it was given, not to the giver",
    }
    return [Claim(names[kind], sum(right) / len(right), len(right), 0.5) for kind, right in outcomes.items() if right]


@torch.inference_mode()
def _prefers(run: Run, text: str, right: str, wrong: str) -> bool:
    """Whether `text` goes on with the words `right` more probably than with the words `wrong`."""
    before = run.tokenizer.encode_prompt(text, begin_document=True)
    scores = []
    for words in (right, wrong):
        ids = run.tokenizer.encode_prompt(f"{text} {words}", begin_document=True)
        n_new = len(ids) - len(before)
        ids = ids[-run.config.model.context_length - 1 :]
        tokens = torch.tensor(ids, device=run.model.device)
        log_probabilities = run.model(tokens[None, :-1])[0, -n_new:].log_softmax(-1)
        scores.append(log_probabilities.gather(1, tokens[-n_new:, None]).sum())
    return bool(scores[0] > scores[1])
