-- Empty objects, by whether they are folder markers
-- Consoles make folder markers; other empty objects are often flags of jobs.
SELECT CASE WHEN odd & 2 THEN 'folder marker' ELSE 'empty object' END AS what, count(*) AS objects, min(key) AS example FROM current
WHERE size = 0 GROUP BY what
