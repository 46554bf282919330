"""(Super)GLUE and MSGS: a classifier trained on each task, measured on its reported items."""
