// SPDX-License-Identifier: Apache-2.0
// app.js client http|net IP PORT | server http IP PORT: the exchanges of README.md by Node's http and net modules.
"use strict";
const http = require("http");
const net = require("net");

const PRIME = 65521, LARGE = 6000000, SLOW = 1500000, HALF = 50000;
const SIZES = [0, 1, 100, 1000, 10000, 100000, 1000000];
const BLOCK = Buffer.alloc(PRIME);
for (let j = 0; j < PRIME; j++)
	BLOCK[j] = (j * 31 + (j >> 3) * 17 + (j >> 8) * 7) & 255;

function body(n) {
	return Buffer.concat(Array(Math.floor(n / PRIME) + 1).fill(BLOCK)).subarray(0, n);
}

class Checker {
	n = 0;
	feed(part) {
		for (let i = 0; i < part.length;) {
			const at = this.n % PRIME, m = Math.min(part.length - i, PRIME - at);
			if (part.compare(BLOCK, at, at + m, i, i + m) !== 0)
				throw new Error(`wrong bytes behind ${this.n}`);
			i += m;
			this.n += m;
		}
	}
}

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function serve(ip, port) {
	http.createServer(async (request, response) => {
		const [, kind, size] = request.url.split("/");
		if (request.method === "POST") {
			const c = new Checker();
			for await (const part of request)
				c.feed(part);
			response.end(`${c.n} ok`);
		} else if (kind === "down") {
			response.writeHead(200, { "Content-Length": size });
			response.end(body(Number(size)));
		} else {
			const data = body(Number(size));
			for (let i = 0; i < data.length; i += 33333)
				response.write(data.subarray(i, i + 33333));
			response.end();
		}
	}).listen(port, ip);
}

// http

async function clientHttp(host, port) {
	const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
	const ports = new Set();

	function ask(method, path, data, chunked) {
		const headers = data && !chunked ? { "Content-Length": data.length } : {};
		return new Promise((resolve, reject) => {
			const request = http.request({ agent, host, port, method, path, headers }, resolve);
			request.on("error", reject);
			request.on("socket", (s) => s.localPort ? ports.add(s.localPort) :
				s.once("connect", () => ports.add(s.localPort)));
			for (let i = 0; chunked && i < data.length; i += 9999)
				request.write(data.subarray(i, i + 9999));
			request.end(chunked ? undefined : data);
		});
	}
	async function get(kind, n, pause) {
		const response = await ask("GET", `/${kind}/${n}`);
		const c = new Checker();
		for await (const part of response) {
			c.feed(part);
			if (pause)
				await later(pause);
		}
		if (response.statusCode !== 200 || c.n !== n)
			throw new Error(`${response.statusCode}, ${c.n} of ${n}`);
	}
	async function post(n, chunked) {
		let said = "";
		for await (const part of await ask("POST", `/up/${n}`, body(n), chunked))
			said += part;
		if (said !== `${n} ok`)
			throw new Error(said);
	}
	for (const n of SIZES) {
		await get("down", n);
		await get("downc", n);
		await post(n, false);
		if (n)
			await post(n, true);
	}
	await post(LARGE, false);
	await get("down", LARGE);
	await get("down", SLOW, 5);
	if (ports.size !== 1)
		throw new Error("not one connection");
	agent.destroy();
}

// net: Content-Length only

async function clientNet(host, port) {
	const socket = net.connect({ host, port, allowHalfOpen: true });
	const parts = socket[Symbol.asyncIterator]();
	let data = Buffer.alloc(0);

	async function more() {
		const { value, done } = await parts.next();
		if (done)
			throw new Error("the end came early");
		data = Buffer.concat([data, value]);
	}
	async function answer(each, pause) {
		let end;
		while ((end = data.indexOf("\r\n\r\n")) < 0)
			await more();
		const head = data.subarray(0, end).toString();
		data = data.subarray(end + 4);
		let left = Number(/content-length: *(\d+)/i.exec(head)[1]);
		while (left) {
			if (!data.length) {
				if (pause)
					await later(pause);
				await more();
			}
			const part = data.subarray(0, left);
			each(part);
			left -= part.length;
			data = data.subarray(part.length);
		}
	}
	async function get(n, pause) {
		const c = new Checker();
		socket.write(`GET /down/${n} HTTP/1.1\r\nHost: app\r\n\r\n`);
		await answer((part) => c.feed(part), pause);
		if (c.n !== n)
			throw new Error(`${c.n} of ${n}`);
	}
	async function post(n) {
		let said = "";
		socket.write(`POST /up/${n} HTTP/1.1\r\nHost: app\r\nContent-Length: ${n}\r\n\r\n`);
		socket.write(body(n));
		await answer((part) => { said += part; });
		if (said !== `${n} ok`)
			throw new Error(said);
	}
	for (const n of [...SIZES, LARGE]) {
		await get(n);
		await post(n);
	}
	await get(SLOW, 5);
	const c = new Checker();
	socket.end(`GET /down/${HALF} HTTP/1.1\r\nHost: app\r\n\r\n`);
	await answer((part) => c.feed(part));
	const { done } = await parts.next();
	if (c.n !== HALF || !done)
		throw new Error("not the end");
}

const [, , role, mode, ip, port] = process.argv;
if (role === "server") {
	serve(ip, Number(port));
} else {
	(mode === "http" ? clientHttp : clientNet)(ip, Number(port)).then(() => console.log("ok"), (error) => {
		console.error(error);
		process.exit(1);
	});
}
