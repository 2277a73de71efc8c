"""What an operator asks: doctor, health, metrics, users, schema, and copying a database."""
