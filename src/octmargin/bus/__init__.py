"""MQTT: topics, messages, publisher and embedded broker."""
