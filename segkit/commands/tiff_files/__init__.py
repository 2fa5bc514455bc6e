"""TIFF files that are read and written a part at a time: by rasterio or, where that is missing, by tifffile."""
