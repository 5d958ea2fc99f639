"""What the project ships, and how it is shared: models with their cards, example runs, the Hugging Face Hub."""
