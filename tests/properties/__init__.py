"""The store against a model of it: long random stories of workers, apps, faults and restored servers."""
