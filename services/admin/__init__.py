"""What an operator needs: doctor, health, metrics, users, schema, database copies."""
