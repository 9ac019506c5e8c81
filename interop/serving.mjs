// A server of a file's own, which its cases may kill and start again on the data that it left.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** How long the server may take until it is ready. */
const READY_MS = 15_000;

/** How long a worker may be silent before its run goes to another one, in seconds. */
const LEASE_SECONDS = "1";

/** Starts the server; `stop` ends it as `signal` does, `start` starts it again at the same address. */
export async function serve() {
  const program = process.env.TURNKEEP_SERVE;
  if (!program) throw new Error("TURNKEEP_SERVE is not set: run the suite with `cargo xtask interop`");
  const folder = await mkdtemp(join(tmpdir(), "turnkeep-interop-"));
  let port = "0";
  let running;
  const server = {
    url: undefined,
    async start() {
      const told = ["--data", folder, "--port", port, "--lease-seconds", LEASE_SECONDS, "--format", "json", "--log", "warn"];
      running = spawn(program, ["serve", ...told], { stdio: ["ignore", "pipe", "inherit"] });
      server.url = await ready(running);
      port = new URL(server.url).port;
    },
    /** Ends the server and waits until it is gone. */
    async stop(signal) {
      const gone = new Promise((resolve) => running.once("exit", resolve));
      running.kill(signal);
      await gone;
    },
    async remove() {
      await server.stop("SIGKILL");
      await rm(folder, { recursive: true, force: true });
    },
  };
  // Whoever ends this process early leaves no server behind.
  process.once("exit", () => running.kill("SIGKILL"));
  await server.start();
  return server;
}

function ready(child) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the server was not ready within ${READY_MS} ms`)), READY_MS);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    createInterface({ input: child.stdout }).once("line", (line) => {
      clearTimeout(late);
      resolve(JSON.parse(line).url);
    });
  });
}
