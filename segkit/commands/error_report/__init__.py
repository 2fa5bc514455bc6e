"""`segkit evaluate --report`: a page that shows where a model fails, and on what."""
