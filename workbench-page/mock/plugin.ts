/** Answers /api during `npm run dev` by the contract, from memory: shapes on plain ground stand for pictures. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";

import { World } from "./world";

export function mock(): Plugin {
  return {
    name: "samtailor-mock",
    apply: "serve",
    configureServer(server) {
      const world = new World();
      server.middlewares.use("/api", (request: IncomingMessage, response: ServerResponse) => {
        const parts: Buffer[] = [];
        request.on("data", (part: Buffer) => parts.push(part));
        request.on("end", () => {
          const text = Buffer.concat(parts).toString();
          if (request.url === "/events") return events(world, response);
          const { status, type, body } = world.answer(request.method ?? "GET", request.url ?? "/", text ? JSON.parse(text) : null);
          response.writeHead(status, { "Content-Type": type });
          response.end(body);
        });
      });
    },
  };
}

function events(world: World, response: ServerResponse): void {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write(": hello\n\n");
  const stop = world.listen((name, data) => response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`));
  response.on("close", stop);
}
