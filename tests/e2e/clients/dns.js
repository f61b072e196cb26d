// SPDX-License-Identifier: Apache-2.0
// dns.js SERVER NAME: prints what c-ares gets.
"use strict";
const { Resolver } = require("dns").promises;

const resolver = new Resolver();
resolver.setServers([process.argv[2]]);
resolver.resolve4(process.argv[3]).then((addresses) => console.log(addresses[0]), (error) => {
	console.error(error);
	process.exit(1);
});
