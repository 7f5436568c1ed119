// What llama.cpp makes of GGUF files. Standard input: {modules, jobs: [{model, texts, prompt, steps}]}; `modules` is the
// folder that has node-llama-cpp. Standard output, for each job: {ids, continuation, logits}, where `ids` are the texts'
// tokens, `continuation` the likeliest tokens after `prompt`, one after the other, and `logits` those of the first step.
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const {modules, jobs} = JSON.parse(readFileSync(0, "utf8"));
const {getLlama} = await import(pathToFileURL(`${modules}/node-llama-cpp/dist/index.js`));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 1});

async function write(model, prompt, steps) {
    const options = {flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"};
    const context = await model.createContext({contextSize: prompt.length + steps, ...options});
    const sequence = context.getSequence();
    const result = {continuation: []};
    let unread = prompt;
    for (let step = 0; step < steps; step++) {
        const next = {generateNext: {token: true, logits: step === 0}};
        const output = await sequence.controlledEvaluate([...unread.slice(0, -1), [unread.at(-1), next]]);
        const {token, logits} = output.at(-1).next;
        if (step === 0) result.logits = [...logits].sort(([a], [b]) => a - b).map(([, logit]) => logit);
        result.continuation.push(token);
        unread = [token];
    }
    await context.dispose();
    return result;
}

const results = [];
for (const {model: modelPath, texts = [], prompt = [], steps = 0} of jobs) {
    const model = await llama.loadModel({modelPath});
    const ids = texts.map(text => model.tokenize(text, false));
    results.push({ids, ...(steps ? await write(model, prompt, steps) : {})});
    await model.dispose();
}
process.stdout.write(JSON.stringify(results), () => process.exit(0));
