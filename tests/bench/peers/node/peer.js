// The common part of both peers: the first process fills the database, then one process a core answers on the same
// port.
import cluster from "node:cluster";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { availableParallelism } from "node:os";

export const SESSIONS = Number(process.env.SESSIONS);

// `fill` returns the credentials of clients: one for each session, and one without a session.
export async function run(name, fill, handler) {
  if (!cluster.isPrimary) {
    createServer(handler).listen(0, "127.0.0.1");
    return;
  }
  const { credentials, unknown } = await fill();
  writeFileSync("credentials", credentials.map((line) => line + "\n").join(""));
  writeFileSync("unknown", unknown + "\n");
  const workers = Array.from({ length: availableParallelism() }, () => cluster.fork());
  const listening = await Promise.all(workers.map((worker) => once(worker, "listening")));
  const [{ address, port }] = listening[0];
  console.log(`${name} ready: http://${address}:${port}`);
}
