"""The mathematics: functions on arrays, which depend on their arguments alone. It knows no device and no Network.

An update may overwrite the state that it is given; a loop works on a copy.
"""
