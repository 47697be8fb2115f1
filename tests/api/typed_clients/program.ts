// Reads a secret schema and saves a connection with secrets, with the types that openapi-typescript made.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

type SecretField = components["schemas"]["SecretField"];
type Connection = components["schemas"]["Connection"];

export async function main(baseUrl: string, token: string): Promise<Connection> {
  const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

  const schema = await client.GET("/api/v1/connection_type/{connection_type}/secret", {
    params: { path: { connection_type: "postgres" } },
  });
  if (schema.data === undefined) throw new Error(String(schema.error.detail));
  const fields: Record<string, SecretField> = schema.data.properties;
  const hidden: string[] = Object.keys(fields).filter((name) => fields[name]?.sensitive === true);
  const required: string[] = schema.data.required;

  const saved = await client.PATCH("/api/v1/connection", {
    body: [
      {
        name: "Typed",
        connection_type: "postgres",
        access: "read",
        secrets: { host: "db.example.com", dbname: "app", username: "reader", password: "tiger", port: 5432 },
      },
    ],
  });
  const connection = saved.data?.succeeded[0];
  if (connection === undefined) throw new Error(`not saved; hidden: ${hidden}, required: ${required}`);
  return connection;
}
