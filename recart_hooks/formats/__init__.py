"""How the admin writes times: sortable and unmistakable, in every browser the same."""
