// A worker in Node: fetches something for each item, several at a time, and answers in whatever order they end.
//
//     penstock run --processor 'worker:node worker.mjs' --format lines names.txt
//
// One JSON object a line comes in, one goes out, with the same id. See docs/WORKERS.md.
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

async function work(request) {
	const text = request.item_text ?? "";
	await pause(text.length % 5); // in place of a request to somewhere
	if (text === "later") return { error: "retry", message: "not now", retry_after_ms: 500 };
	return { value_text: text.toUpperCase() };
}

for await (const line of createInterface({ input: process.stdin })) {
	const request = JSON.parse(line);
	work(request)
		.catch((error) => ({ error: "fatal", message: String(error) }))
		.then((reply) => process.stdout.write(JSON.stringify({ id: request.id, ...reply }) + "\n"));
}
