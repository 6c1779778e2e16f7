/** Serves /api during `npm run dev` from memory. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";

import { EVENTS, ROUTES } from "../src/contract";
import { MockServer } from "./server";

export function mock(): Plugin {
  return {
    name: "samtailor-mock",
    apply: "serve",
    configureServer(server) {
      const mockServer = new MockServer();
      server.middlewares.use("/api", (request: IncomingMessage, response: ServerResponse) => {
        const chunks: Buffer[] = [];
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.on("end", () => {
          if (request.url === `/${ROUTES.events}`) return sendEvents(mockServer, response);
          const text = Buffer.concat(chunks).toString();
          const { status, type, body } = mockServer.handle(request.method ?? "GET", request.url ?? "/", text ? JSON.parse(text) : null);
          response.writeHead(status, { "Content-Type": type });
          response.end(body);
        });
      });
    },
  };
}

function sendEvents(mockServer: MockServer, response: ServerResponse): void {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write(": connected\n\n");
  const unsubscribe = mockServer.subscribe((name, data) =>
    response.write(`event: ${EVENTS[name]}\ndata: ${JSON.stringify(data)}\n\n`),
  );
  response.on("close", unsubscribe);
}
