"""Age of acquisition: does a model's surprisal tell when children learn a word?"""
