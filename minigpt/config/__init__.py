"""What a run is told: hyperparameters, and the recipes that hold them."""
