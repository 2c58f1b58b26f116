// Better Auth on a file of better-sqlite3, asked for the session of a cookie.
import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import Database from "better-sqlite3";
import { run, SESSIONS } from "./peer.js";

const secret = "only for the benchmark, and as long as it asks for";
const database = new Database("better-auth.db");
database.pragma("journal_mode = WAL");

const auth = betterAuth({
  baseURL: "http://bench",
  database,
  secret,
  emailAndPassword: { enabled: true },
  // A session and its user by one query instead of two.
  advanced: { database: { joins: true } },
  // The rate limiter would refuse a caller that asks a hundred times in ten seconds.
  rateLimit: { enabled: false },
});

// The cookie: the token and the token's HMAC.
function cookie(token) {
  const signature = createHmac("sha256", secret).update(token).digest("base64");
  return "better-auth.session_token=" + encodeURIComponent(`${token}.${signature}`);
}

async function fill() {
  const { runMigrations } = await getMigrations(auth.options);
  await runMigrations();
  const user = database.prepare(
    "INSERT INTO user (id, name, email, emailVerified, createdAt, updatedAt) VALUES (?, ?, ?, 1, ?, ?)",
  );
  const session = database.prepare(
    "INSERT INTO session (id, token, userId, expiresAt, createdAt, updatedAt) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const now = new Date();
  const made = now.toISOString();
  const expires = new Date(now.getTime() + 7 * 24 * 60 * 60 * 1000).toISOString();
  const credentials = [];
  database.transaction(() => {
    for (let n = 0; n < SESSIONS; n++) {
      const [id, token] = [randomUUID(), randomBytes(24).toString("base64url")];
      user.run(id, `user-${n}`, `user-${n}@bench.example`, made, made);
      session.run(randomUUID(), token, id, expires, made, made);
      credentials.push(cookie(token));
    }
  })();
  return { credentials, unknown: cookie(randomBytes(24).toString("base64url")) };
}

await run("better-auth", fill, toNodeHandler(auth));
