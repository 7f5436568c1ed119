"""How fast minigpt is beside what people use today: both sides in turns, in one process tree, medians and ratios.

python scripts/benchmark.py train --text FILE       time to a validation loss of 1.886 on Tiny Shakespeare
python scripts/benchmark.py sample                  tokens per second beside Transformers' generate
python scripts/benchmark.py prepare --text FILE     text to tokens on disk beside tiktoken's batch encoding
python scripts/benchmark.py step                    a training step beside what the machine's matmuls allow
python scripts/benchmark.py memory                  peak memory beside that of all logits at once
python scripts/benchmark.py gpu --text FILE         utilisation, time to a loss and inference on a GPU
"""

import typer

from benchmarks import gpu, memory, prepare, sample, step, train

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (train.train, prepare.prepare, sample.sample, step.step, memory.memory, gpu.gpu):
    app.command()(command)

if __name__ == "__main__":
    app()
