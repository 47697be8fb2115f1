# The main job: from an installed connector to a tested connection with its dataset. Needs curl, and from the
# environment: API, TOKEN, DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD.
api() { curl -sS -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" "$@"; echo; }

# Which systems can be connected, and what does PostgreSQL need?
api "$API/connection_type?search=postgres"
api "$API/connection_type/postgres/secret"

# Make a connection. Without "key", the key is derived from the name.
api -X PATCH "$API/connection" --data-binary @- <<JSON
[{"name": "Application PostgreSQL DB", "key": "application_postgresql_db", "connection_type": "postgres", "access": "read"}]
JSON

# Give it its secrets, and test them at once.
api -X PUT "$API/connection/application_postgresql_db/secret?verify=true" --data-binary @- <<JSON
{"host": "$DB_HOST", "port": $DB_PORT, "dbname": "$DB_NAME", "username": "$DB_USER", "password": "$DB_PASSWORD"}
JSON

# Test it again, whenever you like.
api "$API/connection/application_postgresql_db/test"

# Say what the database holds.
api -X PATCH "$API/connection/application_postgresql_db/dataset" --data-binary @- <<JSON
[{
  "fides_key": "shop",
  "name": "Shop",
  "description": "Customers and their orders.",
  "collections": [{
    "name": "customer",
    "fields": [
      {"name": "id", "fides_meta": {"primary_key": true}},
      {"name": "email", "data_categories": ["user.contact.email"], "fides_meta": {"identity": "email", "data_type": "string"}}
    ]
  }]
}]
JSON

# What is stored now. The password reads back as **********.
api "$API/connection/application_postgresql_db"
api "$API/connection?test_status=passed"
