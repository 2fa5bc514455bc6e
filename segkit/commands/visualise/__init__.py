"""A preview of what training sees: contact_sheet.jpg and a page, index.html, that needs nothing beside it."""
