// What llama.cpp makes of GGUF files. Standard input: {modules, jobs: [{model, texts, prompt, steps, steps of what}]}.
import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const {modules, jobs} = JSON.parse(readFileSync(0, "utf8"));
const {getLlama} = await import(pathToFileURL(`${modules}/node-llama-cpp/dist/index.js`));
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 1});
const results = [];
for (const {model: path, texts = [], prompt = [], steps = 0} of jobs) {
    const model = await llama.loadModel({modelPath: path, vocabOnly: steps === 0});
    const result = {ids: texts.map(text => model.tokenize(text, false))};
    results.push(result);
    await model.dispose();
}
console.log(JSON.stringify(results));
