// Tokens per second of llama.cpp, the likeliest token each time. Standard input: {modules, model, prompt, sequences, steps,
// threads}; `modules` is the folder that has node-llama-cpp. Standard output: {rate, release}.
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const {modules, model: modelPath, prompt, sequences, steps, threads} = JSON.parse(readFileSync(0, "utf8"));
const {getLlama} = await import(pathToFileURL(`${modules}/node-llama-cpp/dist/index.js`));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: threads});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({
    sequences, contextSize: prompt.length + steps, batchSize: sequences * prompt.length,
    threads: {ideal: threads, min: threads}
});
const texts = Array.from({length: sequences}, () => context.getSequence());

async function write(text, n) {
    await text.clearHistory();
    for await (const _ of text.evaluate(prompt, {temperature: 0, yieldEogToken: true})) if (--n === 0) return;
}

await Promise.all(texts.map(text => write(text, 8)));  // warms up
const begin = performance.now();
await Promise.all(texts.map(text => write(text, steps)));
const rate = sequences * steps * 1000 / (performance.now() - begin);
process.stdout.write(JSON.stringify({rate, release: llama.llamaCppRelease.release}), () => process.exit(0));
