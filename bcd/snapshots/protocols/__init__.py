"""Published patient lists of the public IDC set, one identifier a line.

`cruz-roa-2014-train.txt`, `-val.txt` and `-test.txt` are the 84, 29 and 49 patients of Cruz-Roa et al.,
"Automatic detection of invasive ductal carcinoma in whole slide images with convolutional neural networks",
SPIE 9041, 2014, as published with the data by Janowczyk & Madabhushi, J Pathol Inform 7:29, 2016. Lists of
identifiers are facts.
"""
