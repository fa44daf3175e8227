"""The demo: two tenants train three real models on one shared fleet of 40 devices.

``make demo`` runs it. Everything here uses the platform as its users do: devices are the real
agent over real websockets, jobs go through the REST client, models are downloaded.
"""
