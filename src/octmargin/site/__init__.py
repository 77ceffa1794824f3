"""A site's MQTT broker: certificates, users, rights and configuration files that belong together."""
