"""What is published and how: the serving directory, the Hub's folder, the model card."""
