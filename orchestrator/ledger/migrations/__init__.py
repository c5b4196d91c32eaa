"""The ledger's history of tables; `versions` is append-only: a revision that was released is never edited."""
