"""A dataset and its folder: settings, plan, summaries, and what describes it."""
