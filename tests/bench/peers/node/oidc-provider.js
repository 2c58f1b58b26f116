// oidc-provider, asked about opaque access tokens by an authenticated client.
import { randomBytes } from "node:crypto";
import Database from "better-sqlite3";
import { Provider } from "oidc-provider";
import { run, SESSIONS } from "./peer.js";

const client = { client_id: "bench", client_secret: "bench-secret" };

const database = new Database("oidc-provider.db");
database.pragma("journal_mode = WAL");
database.exec("CREATE TABLE IF NOT EXISTS oidc (id TEXT PRIMARY KEY, payload TEXT NOT NULL) WITHOUT ROWID");
const write = database.prepare("INSERT OR REPLACE INTO oidc (id, payload) VALUES (?, ?)");
const read = database.prepare("SELECT payload FROM oidc WHERE id = ?").pluck();

// The part of the documentation's adapter that opening and introspecting access tokens call.
class Adapter {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload) {
    write.run(`${this.model}:${id}`, JSON.stringify(payload));
  }

  async find(id) {
    const payload = read.get(`${this.model}:${id}`);
    return payload && JSON.parse(payload);
  }
}

const provider = new Provider("http://bench", {
  adapter: Adapter,
  clients: [{ ...client, redirect_uris: ["https://app.example/back"] }],
  features: { devInteractions: { enabled: false }, introspection: { enabled: true } },
  ttl: { AccessToken: 24 * 60 * 60 },
});

async function fill() {
  const owner = await provider.Client.find(client.client_id);
  const credentials = [];
  database.exec("BEGIN");
  for (let n = 0; n < SESSIONS; n++) {
    const token = new provider.AccessToken({ accountId: `user-${n}`, client: owner, scope: "openid" });
    credentials.push(await token.save());
  }
  database.exec("COMMIT");
  return { credentials, unknown: randomBytes(32).toString("base64url") };
}

await run("oidc-provider", fill, provider.callback());
