"""Where bytes come from: each module yields Chunk or Skipped, and knows nothing of rules."""
