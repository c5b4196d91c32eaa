"""Tell. Builders turn records into documents; renderers turn documents into text, JSON and HTML."""
