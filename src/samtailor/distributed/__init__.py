"""Label, search, embed and evaluate any number of images, with several processes or a Ray cluster.

The images are divided into blocks. An engine (`engines/`) computes the results of the images of a block in any order;
one process, the driver, collects them and commits complete blocks as Parquet files (`ledger`). Therefore every image id
is in the result exactly once, whatever an engine repeats or loses. Images whose results do not arrive are tried alone a
bounded number of times and then listed as failed (`passes`).
"""
