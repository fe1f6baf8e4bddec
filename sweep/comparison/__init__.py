"""Two sets of results laid beside each other: what differs, by how much, and how sure that is."""
