-- Objects and bytes by size
-- Requests are paid by object, storage and egress by byte.
SELECT CASE WHEN size = 0 THEN '0' WHEN size <= 4096 THEN 'to 4 KiB' WHEN size <= 65536 THEN 'to 64 KiB' WHEN size <= 1048576 THEN 'to 1 MiB'
       WHEN size <= 16777216 THEN 'to 16 MiB' WHEN size <= 1073741824 THEN 'to 1 GiB' WHEN size <= 5368709120 THEN 'to 5 GiB' ELSE 'over 5 GiB' END AS sizes,
       count(*) AS objects, sum(size) AS bytes
FROM current GROUP BY 1 ORDER BY max(size)
