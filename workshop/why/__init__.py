"""Why an object is as it is: `pod`, `service`, `node` and `deployment` look at live objects and say it. Pure."""
