// SPDX-License-Identifier: Apache-2.0
// client.js URL N CONCURRENCY: N requests by Node's http module, each with a body that has to come
// back whole; prints "N ok".
"use strict";
const crypto = require("crypto");
const http = require("http");

const [url, total, concurrency] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const agent = new http.Agent({ keepAlive: true, maxSockets: concurrency });

function one(i) {
	const body = Buffer.alloc((i * 37) % 70000, i % 256);
	const options = { agent, method: "POST" };
	if (i % 2 === 0)
		options.headers = { "Content-Length": body.length };
	return new Promise((resolve, reject) => {
		const request = http.request(`${url}/node/${i}`, options, (response) => {
			const parts = [];
			response.on("data", (part) => parts.push(part));
			response.on("error", reject);
			response.on("end", () => {
				const seen = JSON.parse(Buffer.concat(parts).toString());
				const digest = crypto.createHash("sha256").update(body).digest("hex");
				if (response.statusCode !== 200 || seen.target !== `/node/${i}` || seen.body_sha256 !== digest)
					reject(new Error(`request ${i}: status ${response.statusCode}, seen ${JSON.stringify(seen)}`));
				else
					resolve();
			});
		});
		request.on("error", reject);
		request.end(body);
	});
}

async function main() {
	let next = 0, ok = 0;
	async function worker() {
		while (next < total) {
			await one(next++);
			ok++;
		}
	}
	await Promise.all(Array.from({ length: concurrency }, worker));
	console.log(`${ok} ok`);
	agent.destroy();
}

main().catch((error) => {
	console.error(error);
	process.exit(1);
});
