-- The rights of the role that web and DICOM server connect as, worklist_app: it reads and writes,
-- owns nothing, and only adds to the audit trail. Run by the owner of the tables after each migrate:
--   psql --dbname worklist --file deploy/roles.sql
-- The role itself is made once: createuser --pwprompt worklist_app
GRANT USAGE ON SCHEMA public TO worklist_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worklist_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO worklist_app;
REVOKE UPDATE, DELETE, TRUNCATE ON audit_auditevent, audit_seal FROM worklist_app;
-- Which migrations there are is the owner's to say.
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM worklist_app;
