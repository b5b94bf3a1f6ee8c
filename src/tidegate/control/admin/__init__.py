"""The admin listener: one router a resource, one door that asks who is there before anything is read (C3.2)."""
