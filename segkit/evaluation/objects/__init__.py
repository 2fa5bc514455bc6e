"""How well objects are told apart, which no score of single pixels says: one pixel may join two cells, or cut one."""
