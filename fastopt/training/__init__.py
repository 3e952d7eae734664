"""For training loops of one's own: parameters as one flat vector, and optimizers that step it."""
