"""Files as they lie on disk: Arrow tables, images, TFRecords, pickles of which nothing is run."""
