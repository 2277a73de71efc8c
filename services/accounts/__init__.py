"""Who may use the server: accounts kept here or at Supabase, their tokens, API keys, and what each may ask for."""
