"""How hyperparameters are chosen: the declared spaces, the log of trials, and the rule."""
