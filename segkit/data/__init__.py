"""Images, masks and weight maps: what is read, how it is changed, and in which order it reaches the model.

The order of the images and every random change to them are pure functions of (seed, epoch, index), so neither
the number of workers nor a resumed run changes a batch.
"""
