-- What stands beside a picture on its page, and which engine read a page.
ALTER TABLE document_images ADD COLUMN caption TEXT NOT NULL DEFAULT '';
ALTER TABLE document_pages ADD COLUMN engine TEXT NOT NULL DEFAULT '';
