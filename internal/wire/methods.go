package wire

import (
	"maps"

	holdallv1 "github.com/holdall/holdall/proto/holdall/v1"
)

// roles is a set of what a caller may be.
type roles uint8

const (
	roleUser     roles = 1 << iota // puts and gets blocks
	roleOperator                   // runs the cell
	roleAnyone                     // needs no credential: health, and what the services look like
)

// method is what the server knows of a method before it reads a request.
type method struct {
	allowed roles
	payload bool // carries a block: its bytes are admitted at the headers
	chunks  bool // a stream of data: room for one message is made at the headers
	stream  bool // has no deadline of the server's: it lasts as long as its caller
}

// methods lists every method that may be called. One that is not here is
// refused, whatever is registered: nothing is open by oversight.
func methods() map[string]method {
	user := method{allowed: roleUser | roleOperator}
	operator := method{allowed: roleOperator}
	long := method{allowed: roleOperator, stream: true}
	anyone := method{allowed: roleAnyone}
	watch := method{allowed: roleAnyone, stream: true}
	all := map[string]method{
		holdallv1.BlockService_Put_FullMethodName:      {allowed: user.allowed, payload: true},
		holdallv1.BlockService_Get_FullMethodName:      user,
		holdallv1.BlockService_Stat_FullMethodName:     user,
		holdallv1.BlockService_Missing_FullMethodName:  user,
		holdallv1.BlockService_Claim_FullMethodName:    user,
		holdallv1.BlockService_Delete_FullMethodName:   user,
		holdallv1.BlockService_Undelete_FullMethodName: user,

		holdallv1.ObjectService_CreateBucket_FullMethodName: user,
		holdallv1.ObjectService_RemoveBucket_FullMethodName: user,
		holdallv1.ObjectService_ListBuckets_FullMethodName:  user,
		holdallv1.ObjectService_Put_FullMethodName:          {allowed: user.allowed, stream: true, chunks: true},
		holdallv1.ObjectService_Get_FullMethodName:          {allowed: user.allowed, stream: true},
		holdallv1.ObjectService_Head_FullMethodName:         user,
		holdallv1.ObjectService_List_FullMethodName:         user,
		holdallv1.ObjectService_Delete_FullMethodName:       user,
		holdallv1.ObjectService_Undelete_FullMethodName:     user,
		holdallv1.ObjectService_Copy_FullMethodName:         user,
		holdallv1.ObjectService_SetTags_FullMethodName:      user,

		holdallv1.AdminService_CreateNamespace_FullMethodName:  operator,
		holdallv1.AdminService_ListNamespaces_FullMethodName:   operator,
		holdallv1.AdminService_ShowNamespace_FullMethodName:    operator,
		holdallv1.AdminService_SetNamespace_FullMethodName:     operator,
		holdallv1.AdminService_RemoveNamespace_FullMethodName:  operator,
		holdallv1.AdminService_CreateCredential_FullMethodName: operator,
		holdallv1.AdminService_ListCredentials_FullMethodName:  operator,
		holdallv1.AdminService_RemoveCredential_FullMethodName: operator,

		holdallv1.AdminService_CellStatus_FullMethodName:      operator,
		holdallv1.AdminService_ListDisks_FullMethodName:       operator,
		holdallv1.AdminService_ShowDisk_FullMethodName:        operator,
		holdallv1.AdminService_AddDisk_FullMethodName:         operator,
		holdallv1.AdminService_ReadmitDisk_FullMethodName:     long,
		holdallv1.AdminService_ListVolumes_FullMethodName:     operator,
		holdallv1.AdminService_ShowVolume_FullMethodName:      operator,
		holdallv1.AdminService_SealVolumes_FullMethodName:     operator,
		holdallv1.AdminService_PurgeStatus_FullMethodName:     operator,
		holdallv1.AdminService_ReleasePurge_FullMethodName:    operator,
		holdallv1.AdminService_BackupMetadata_FullMethodName:  long,
		holdallv1.AdminService_DumpMetadata_FullMethodName:    long,
		holdallv1.AdminService_ReleaseMetadata_FullMethodName: operator,
		holdallv1.AdminService_ProcessStats_FullMethodName:    operator,

		"/grpc.health.v1.Health/Check":                                   anyone,
		"/grpc.health.v1.Health/List":                                    anyone,
		"/grpc.health.v1.Health/Watch":                                   watch,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      watch,
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": watch,
	}
	maps.Copy(all, migrationMethods())
	return all
}

// migrationMethods are those for buckets that migrate.
func migrationMethods() map[string]method {
	operator := method{allowed: roleOperator}
	return map[string]method{
		holdallv1.MigrationService_CreateMigration_FullMethodName: operator,
		holdallv1.MigrationService_ListMigrations_FullMethodName:  operator,
		holdallv1.MigrationService_ShowMigration_FullMethodName:   operator,
		holdallv1.MigrationService_SetMigration_FullMethodName:    operator,
		holdallv1.MigrationService_StepMigration_FullMethodName:   operator,
		holdallv1.MigrationService_StartJob_FullMethodName:        operator,
		holdallv1.MigrationService_PauseJob_FullMethodName:        operator,
		holdallv1.MigrationService_ListOutbox_FullMethodName:      operator,
		holdallv1.MigrationService_ListQuarantine_FullMethodName:  operator,
		holdallv1.MigrationService_ListExceptions_FullMethodName:  operator,
		holdallv1.MigrationService_Requeue_FullMethodName:         operator,
		holdallv1.MigrationService_Except_FullMethodName:          operator,
		holdallv1.MigrationService_Certify_FullMethodName:         {allowed: roleOperator, stream: true},
	}
}
