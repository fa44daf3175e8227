"""How the console writes times: its readers are in many zones, so each names its own."""

DATETIME_FORMAT = "Y-m-d H:i:s T"
